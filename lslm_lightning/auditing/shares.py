"""Shares with intervals, and the test whether one share is above another."""

from lslm_lightning.auditing.finding import AuditFigure

Z = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


def share_figure(key: str, name: str, n_found: int, n: int) -> AuditFigure:
    """Return the figure of a share in percent, with Wilson's 95 % interval.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    Args:
        n_found: number of those that are counted.
        n: number of all, above 0.
    """
    share = n_found / n
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * (share * (1 - share) / n + Z**2 / (4 * n**2)) ** 0.5
    low = max(0.0, middle - half) if n_found else 0.0  # exact: the sums round to 1e-18
    high = min(1.0, middle + half) if n_found < n else 1.0
    return AuditFigure(key, name, 100 * share, "%", 100 * low, 100 * high)


def p_above(n_first: int, n: int, n_second: int, m: int) -> float:
    """Return the one-sided p-value of Fisher's exact test that the first share, `n_first` of `n`,
    is above the second, `n_second` of `m`.
    """
    from scipy.stats import fisher_exact

    table = [[n_first, n - n_first], [n_second, m - n_second]]
    return float(fisher_exact(table, alternative="greater").pvalue)
