/** What is told of a set of measurements: the middle, and how far from it they lie. Robust to a few wild ones. */
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
  if (values.length === 0) throw new RangeError('nothing was measured')
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

/** Of values in rising order; between two of them in proportion. */
export function quantile(sorted: readonly number[], share: number): number {
  const place = (sorted.length - 1) * share
  const below = sorted[Math.floor(place)]
  const above = sorted[Math.ceil(place)]
  if (below === undefined || above === undefined) throw new RangeError('nothing was measured')
  return below + (above - below) * (place - Math.floor(place))
}

/** From a MAD to a standard deviation, and from that of values to that of their median, were they normal. */
const MAD_TO_SIGMA = 1.4826
const MEAN_TO_MEDIAN = 1.2533

/** How far the median of as many new measurements would be from this one. */
export function standardError({ mad, count }: Summary): number {
  return (MEAN_TO_MEDIAN * MAD_TO_SIGMA * mad) / Math.sqrt(count)
}

/** Round by round, so that what slowed the machine for a while is on both sides of the fraction. */
export function ratios(ours: readonly number[], theirs: readonly number[]): number[] {
  const found: number[] = []
  for (const [round, value] of ours.entries()) {
    const other = theirs[round]
    if (other !== undefined && other > 0) found.push(value / other)
  }
  return found
}
