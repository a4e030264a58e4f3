"""The table of what classifiers of measured features have measured: `features.parquet`."""

from collections.abc import Sequence
from dataclasses import asdict

import pyarrow as pa

from search.common.files import write_atomically
from search.records.schema import Key, Phase, feature_field, field_of
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
    key = asdict(Key(phase=Phase.COMPARE, level=level, data=source.source))
    columns = {name: [value] * len(source.names) for name, value in key.items()}
    columns["image"] = list(source.names)
    columns["label"] = [source.classes[label] for label in source.labels]
    fields = [field_of(name) for name in columns] + [feature_field(name) for name in config.feature_names()]
    return pa.table([*columns.values(), *features.T], schema=pa.schema(fields))
