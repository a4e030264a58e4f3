"""The table of what classifiers of measured features have measured: `features.parquet`."""

from collections.abc import Sequence

import pyarrow as pa

from search.common.files import write_atomically
from search.records.schema import feature_field, field_of
from search.study.comparing import Candidate
from search.study.context import Study
from search.training.rebuild import to_json
from wbcmodels.network import EstimatorConfig


def keep_features(study: Study, everyone: Sequence[Candidate]) -> None:
    """Write the features of all source images, and note in `study.json` how they are measured.

    Args:
        everyone: what is compared; of a level with several settings, the first is taken.
    """
    of_level: dict[str, EstimatorConfig] = {}
    for candidate in everyone:
        if isinstance(candidate.configuration.model, EstimatorConfig):
            of_level.setdefault(candidate.level, candidate.configuration.model)
    if not of_level:
        return
    tables = [_table(study, level, config) for level, config in of_level.items()]
    write_atomically(study.folder.path / "features.parquet", pa.concat_tables(tables, promote_options="default"))
    study.folder.update(estimators={level: to_json(config) for level, config in of_level.items()})


def _table(study: Study, level: str, config: EstimatorConfig) -> pa.Table:
    source = study.source
    features = study.workers.features(config, study.shared[source.source])
    columns = {
        "level": [level] * len(source.names),
        "data": [source.source] * len(source.names),
        "image": list(source.names),
        "label": [source.classes[label] for label in source.labels],
    }
    fields = [field_of(name) for name in columns]
    measured = {name: features[:, k] for k, name in enumerate(config.feature_names())}
    fields += [feature_field(name) for name in measured]
    arrays = {**columns, **{f"feature_{name}": values for name, values in measured.items()}}
    return pa.table(arrays, schema=pa.schema(fields))
