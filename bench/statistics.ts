/** Summary of a set of measurements. Median, MAD and quartiles are robust to a few outliers. */
export interface Summary {
  readonly count: number
  readonly median: number
  /** Median absolute deviation from the median. */
  readonly mad: number
  readonly min: number
  readonly max: number
  readonly lowerQuartile: number
  readonly upperQuartile: number
}

export function summarise(values: readonly number[]): Summary {
  if (values.length === 0) throw new RangeError('no measurements')
  const sorted = values.toSorted((a, b) => a - b)
  const middle = quantile(sorted, 0.5)
  return {
    count: sorted.length,
    median: middle,
    mad: median(sorted.map((value) => Math.abs(value - middle))),
    min: sorted[0] as number,
    max: sorted.at(-1) as number,
    lowerQuartile: quantile(sorted, 0.25),
    upperQuartile: quantile(sorted, 0.75),
  }
}

export function median(values: readonly number[]): number {
  return quantile(
    values.toSorted((a, b) => a - b),
    0.5,
  )
}

/** Returns a quantile of ascending values, interpolated linearly between neighbours. */
export function quantile(sorted: readonly number[], share: number): number {
  const position = (sorted.length - 1) * share
  const below = sorted[Math.floor(position)]
  const above = sorted[Math.ceil(position)]
  if (below === undefined || above === undefined) throw new RangeError('no measurements')
  return below + (above - below) * (position - Math.floor(position))
}

/** For a normal distribution: MAD to standard deviation, and standard error of the mean to that of the median. */
const MAD_TO_SIGMA = 1.4826
const MEAN_TO_MEDIAN = 1.2533

/** Estimates the standard error of the median. */
export function standardError({ mad, count }: Summary): number {
  return (MEAN_TO_MEDIAN * MAD_TO_SIGMA * mad) / Math.sqrt(count)
}

/** Returns the ratios of samples of the same round, so that a slowdown of the machine cancels out. */
export function ratios(ours: readonly number[], theirs: readonly number[]): number[] {
  const found: number[] = []
  for (const [round, value] of ours.entries()) {
    const other = theirs[round]
    if (other !== undefined && other > 0) found.push(value / other)
  }
  return found
}
