"""The recovery of demand once more, slow and obvious: one series at a time."""

import numpy as np

from marketday.features import censoring, gamma_poisson


class SlowFactor:
    """Sums that forget, around a prior of 1."""

    def __init__(self, memory):
        self.memory, self.seen, self.expected = memory, {}, {}

    def of(self, key):
        prior = censoring._EFFECT_PRIOR
        return (prior + self.seen.get(key, 0.0)) / (prior + self.expected.get(key, 0.0))

    def learn(self, rows):
        for key in {key for key, _, _ in rows}:
            for sums, at in ((self.seen, 1), (self.expected, 2)):
                sums[key] = self.memory * sums.get(key, 0.0) + sum(row[at] for row in rows if row[0] == key)


def slow_recover(sales, stockout_share, group, promoted, by_weight):
    """Follow the filter one series at a time, in a first week, which knows no weekday, dispersion or timing."""
    c, found, promotion = censoring, sales.astype(float), SlowFactor(censoring._PROMOTION_MEMORY)
    own, groups = np.zeros((len(sales), 2)), np.zeros((2, 2))
    dispersion = c._FIRST_DISPERSION
    for day in range(sales.shape[1]):
        learnt = []
        for g in range(2):
            rows = {}
            seen, expected = c._GROUP_MEMORY * groups[g]
            for i in np.flatnonzero(group == g):
                s, e = float(np.nan_to_num(sales[i, day])), 1.0 - float(stockout_share[i, day])
                timed = np.isfinite(sales[i, day]) and not (e == 0.0 and s > 0.0)
                rows[i] = (s, e) if timed else (0.0, 0.0)
                seen, expected = seen + rows[i][0], expected + rows[i][1]
            typical = seen / expected if expected > 0 else 1.0
            plans, top, bottom = {}, c._DAY_PRIOR, c._DAY_PRIOR
            for i, (s, e) in rows.items():
                prior = 1.0 / c._SERIES_DISPERSION
                level = (own[i, 0] + prior) / (own[i, 1] + prior / max(typical, c._LEAST_MEAN))
                effect = promotion.of((g, promoted[i, day]))
                planned = max(level * effect, c._LEAST_MEAN)
                unit = c._UNIT_BY_WEIGHT * max(typical, c._LEAST_MEAN) if by_weight[i] else 1.0
                within, between = slow_split(planned, unit, dispersion)
                w = 1.0 / (within + between * e * planned)
                plans[i] = level, effect, planned, unit, w
                if e >= c._TELLING_EXPOSURE:
                    top, bottom = top + w * s, bottom + w * e * planned
            busy = top / bottom
            groups[g, 0], groups[g, 1] = seen, c._GROUP_MEMORY * groups[g, 1]
            for i, (s, e) in rows.items():
                level, effect, planned, unit, w = plans[i]
                mean = planned * busy
                within, between = slow_split(mean, unit, dispersion)
                if np.isfinite(sales[i, day]):
                    found[i, day] = s + (1 - e) * mean * (within + between * s) / (within + between * e * mean)
                    if stockout_share[i, day] == 1 and sales[i, day] > 0:
                        total = dispersion + (unit / mean if by_weight[i] else 0.0)
                        bound = np.array([float(sales[i, day])])
                        found[i, day] = gamma_poisson.expected_beyond(bound, mean, total, by_weight[[i]])[0]
                    own[i] *= c._LEVEL_MEMORY
                own[i] += w * s, w * e * effect * busy
                groups[g, 1] += e * effect * busy
                learnt.append(((g, promoted[i, day]), w * s, w * e * level * busy))
        promotion.learn(learnt)
    return found


def slow_split(mean, unit, dispersion):
    within = max(unit, gamma_poisson._LEAST_UNIT * mean)
    return within, max(dispersion + (unit - within) / mean, gamma_poisson._LEAST_DISPERSION)
