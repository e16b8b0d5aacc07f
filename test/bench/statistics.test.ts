/** @module-tag unit */
import { describe, expect, it } from 'vitest'
import { median, quantile, ratios, standardError, summarise } from '../../bench/statistics.js'

describe('statistics', () => {
  it('computes the median, and refuses an empty set', () => {
    expect(median([3, 1, 2])).toBe(2)
    expect(median([4, 1, 2, 3])).toBe(2.5)
    expect(() => median([])).toThrow(RangeError)
  })

  it('interpolates a quantile linearly between its neighbours', () => {
    expect(quantile([10, 20, 30, 40, 50], 0.25)).toBe(20)
    expect(quantile([10, 20], 0.75)).toBe(17.5)
    expect(quantile([10, 20], 1)).toBe(20)
  })

  it('keeps the median, the MAD and the quartiles despite an outlier', () => {
    const {
      median: middle,
      mad,
      min,
      max,
      lowerQuartile,
      upperQuartile,
      count,
    } = summarise([9, 10, 11, 10, 900])
    expect({ middle, mad, min, max, count }).toEqual({ middle: 10, mad: 1, min: 9, max: 900, count: 5 })
    expect([lowerQuartile, upperQuartile]).toEqual([10, 11])
  })

  it('halves the standard error of the median with four times as many values', () => {
    const few = summarise([9, 10, 11, 12])
    const many = summarise([9, 10, 11, 12, 9, 10, 11, 12, 9, 10, 11, 12, 9, 10, 11, 12])
    expect(standardError(many)).toBeCloseTo(standardError(few) / 2)
    expect(standardError(summarise([5, 5, 5]))).toBe(0)
  })
})

describe('ratios', () => {
  it('divide samples of the same round, so that a slow round cancels out', () => {
    expect(ratios([2, 20, 2], [1, 10, 1])).toEqual([2, 2, 2])
  })

  it('leave out rounds that only one contender ran', () => {
    expect(ratios([2, 4, 6], [1, 2])).toEqual([2, 2])
  })
})
