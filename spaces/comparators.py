"""How do the paper's networks compare with others, and with a system without a network?

    pip install wbc-search[pretrained]
    python -m search.run --space comparators --compare-settings 1

The paper's figure 6, on equal terms. Every network is searched by itself for learning rate, weight decay, input
side, class weighting and, if it is pretrained, whether all of it is trained. Then all are compared on the same
folds. `any_placement` also searches where the residual block belongs, and `traditional` how a cell is segmented,
measured and classified. The quick profile trains large networks for fewer epochs on smaller inputs: ResNet-50 and
-101 for 4 and 3 of 12 epochs at 32 px.

Seen on 2172 cells of PBC in the quick profile, ten folds, two trials a network: by balanced accuracy, the system
without a network leads with 0.958 (0.923 to 0.996) and ResNet-18 is the best network with 0.936 (0.878 to 0.984);
WBCsNet-2 has 0.880 (0.833 to 0.926). See docs/networks.md and results/comparators-pbc2172-lisc255.
"""

from collections.abc import Callable
from dataclasses import dataclass

from search.space import Configuration, Profile, Space, Suggester, Trained, TrainingConfig
from wbcmodels.classics import Classic
from wbcmodels.config import PLACEMENTS, ModelConfig
from wbcmodels.efficientnet_lite import EfficientNetLite0
from wbcmodels.lenet import LeNet5
from wbcmodels.network import NetworkConfig
from wbcmodels.traditional.config import Traditional


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A network from outside the family.

    Attributes:
        build: side in px -> the network.
        sides_px: to choose from, in the paper's profile and in the quick ones.
        quick_epochs: share of a quick profile's epochs that it is trained for.
        lr: lowest and highest learning rate of AdamW.
    """

    build: Callable[[int], NetworkConfig]
    sides_px: tuple[tuple[int, ...], tuple[int, ...]]
    quick_epochs: float = 1.0
    lr: tuple[float, float] = (0.0003, 0.003)


def _classic(name: str) -> Callable[[int], NetworkConfig]:
    return lambda side_px: Classic(name=name, input_px=side_px)


FAMILY = ("wbcsnet", "wbcsnet2", "any_placement")
RIVALS = {
    "lenet5": Rival(build=lambda px: LeNet5(colour=True, input_px=px), sides_px=((32, 48, 64), (32, 40))),
    "alexnet": Rival(
        build=_classic("alexnet"), sides_px=((64, 112, 224), (40,)), quick_epochs=0.5, lr=(0.0001, 0.001)
    ),
    "vgg16": Rival(build=_classic("vgg16_bn"), sides_px=((64, 112), (32,)), quick_epochs=0.35),
    "vgg19": Rival(build=_classic("vgg19_bn"), sides_px=((64, 112), (32,)), quick_epochs=0.35),
    "googlenet": Rival(build=_classic("googlenet"), sides_px=((64, 112), (40,)), quick_epochs=0.5),
    "resnet18": Rival(build=_classic("resnet18"), sides_px=((64, 112), (40,)), quick_epochs=0.5),
    "resnet50": Rival(build=_classic("resnet50"), sides_px=((64, 112), (32,)), quick_epochs=0.35),
    "resnet101": Rival(build=_classic("resnet101"), sides_px=((64, 112), (32,)), quick_epochs=0.25),
    "efficientnet_lite0": Rival(build=lambda px: EfficientNetLite0(input_px=px), sides_px=((96, 128, 224), (64,))),
}
PRETRAINED = ("efficientnet_lite0",)
PAPER = Profile(
    width=1.0,
    epochs=40,
    transfer_epochs=40,
    input_px=(48, 56, 64, 70),
    lr=(0.0003, 0.01),
    trials_per_level=16,
    search_folds=5,
    finalists=3,
)
QUICK = Profile(
    width=0.25,
    epochs=12,
    transfer_epochs=24,
    input_px=(32, 40),
    lr=(0.005, 0.03),
    trials_per_level=2,
    search_folds=2,
)


def configure(suggest: Suggester, level: str, profile: Profile) -> Configuration:
    """The level's network or system, with parameters that the suggester chooses."""
    if level == "traditional":
        return _traditional(suggest)
    weighting = suggest.suggest_categorical("class_weighting", ("none", "balanced"))
    weight_decay = suggest.suggest_float("weight_decay", 1e-5, 1e-1, log=True)
    if level in FAMILY:
        training = TrainingConfig(
            epochs=profile.epochs,
            lr=suggest.suggest_float("lr", *profile.lr, log=True),
            weight_decay=min(weight_decay, 1e-2),  # SGD adds it to the gradient
            class_weighting=weighting,
        )
        return Configuration(model=_of_family(suggest, level, profile), training=training)
    rival, is_quick = RIVALS[level], profile is not PAPER
    trained: Trained = "whole"
    if level in PRETRAINED:
        trained = suggest.suggest_categorical("trained", ("whole", "head"))
    share = rival.quick_epochs if is_quick else 1.0
    training = TrainingConfig(
        epochs=max(1, round(share * profile.epochs)),
        lr=suggest.suggest_float("lr", *rival.lr, log=True),
        optimizer="adamw",
        weight_decay=weight_decay,
        class_weighting=weighting,
        trained=trained,
    )
    side_px = suggest.suggest_categorical("input_px", rival.sides_px[is_quick])
    return Configuration(model=rival.build(side_px), training=training)


def _of_family(suggest: Suggester, level: str, profile: Profile) -> ModelConfig:
    fixed = {"wbcsnet": "none", "wbcsnet2": "1"}
    placement = fixed.get(level) or suggest.suggest_categorical("placement", PLACEMENTS)
    return ModelConfig(
        placement=placement,
        norm="batch",
        dropout=suggest.suggest_float("dropout", 0.0, 0.6),
        input_px=suggest.suggest_categorical("input_px", profile.input_px),
        width=profile.width,
    )


def _traditional(suggest: Suggester) -> Configuration:
    classifier = suggest.suggest_categorical("classifier", ("svm", "random_forest", "gradient_boosting"))
    model = Traditional(
        input_px=64,
        stain_space=suggest.suggest_categorical("stain_space", ("red_saturation", "hed", "lab")),
        segmentation=suggest.suggest_categorical("segmentation", ("otsu", "kmeans")),
        feature_set=suggest.suggest_categorical("feature_set", ("shape+colour", "shape+colour+texture")),
        classifier=classifier,
        balanced=suggest.suggest_categorical("class_weighting", ("none", "balanced")) == "balanced",
        C=suggest.suggest_float("C", 1.0, 100.0, log=True) if classifier == "svm" else 10.0,
    )
    return Configuration(model=model, training=TrainingConfig(epochs=1, lr=0.0))


def first_points(level: str, profile: Profile) -> tuple[dict[str, object], ...]:
    """A first trial of every level that is known to learn."""
    if level == "traditional":
        found = {"classifier": "svm", "stain_space": "red_saturation", "segmentation": "otsu", "C": 10.0}
        return ({**found, "feature_set": "shape+colour+texture", "class_weighting": "balanced"},)
    common = {"class_weighting": "balanced", "weight_decay": 1e-2}
    if level in FAMILY:
        own = {**common, "weight_decay": 1e-4, "lr": 0.015 if profile is not PAPER else 0.003, "dropout": 0.2}
        placed = {"placement": "1"} if level == "any_placement" else {}
        return ({**own, **placed, "input_px": profile.input_px[-1]},)
    rival, is_quick = RIVALS[level], profile is not PAPER
    trained = {"trained": "whole"} if level in PRETRAINED else {}
    lr = (rival.lr[0] * rival.lr[1]) ** 0.5
    return ({**common, **trained, "lr": lr, "input_px": rival.sides_px[is_quick][-1]},)


SPACE = Space(
    question="How do the paper's networks compare with others, and with a system without a network?",
    factor="network",
    levels=(*FAMILY, *RIVALS, "traditional"),
    settings="own",
    reference="wbcsnet2",
    configure=configure,
    first_points=first_points,
    paper=PAPER,
    quick=(QUICK,),
)
