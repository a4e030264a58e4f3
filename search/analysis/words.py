"""Metrics, levels, p values and differences as words."""

from search.space import CONTROL_LEVEL, PAPER_LEVELS

METRIC_WORDS = {
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "brier": "the Brier score",
    "balanced_brier": "the class-balanced Brier score",
    "log_loss": "log loss",
    "auc": "the AUC",
}


def metric_words(metric: str) -> str:
    """A metric's name in a sentence."""
    return METRIC_WORDS.get(metric, metric.replace("_", " "))


def level_name(factor: str | None, level: str) -> str:
    """A level's name in a sentence."""
    named = dict(zip(PAPER_LEVELS, ("the paper's plain network", "the paper's WBCsNet-2"), strict=True))
    named[CONTROL_LEVEL] = "the control"
    if level in named:
        return named[level]
    return "the searched network" if factor is None else f"{factor.replace('_', ' ')} {level}"


def capitalised(text: str) -> str:
    """The start of a sentence."""
    return text[0].upper() + text[1:]


def p_text(p: float) -> str:
    """A p value for a reader."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def p_phrase(p: float) -> str:
    """As in "p = 0.20"."""
    text = p_text(p)
    return f"p {'' if '<' in text else '= '}{text}"


def signed(points: float) -> str:
    """A number with its sign, and a true minus."""
    return f"{round(points, 1) + 0.0:+.1f}".replace("-", "−")  # no minus before zero


def percent(share: float) -> str:
    """A share in whole percent."""
    return f"{100 * share:.0f} %"
