/** Maps values to positions on an axis, from 0 to 1. */
export interface Scale {
  readonly at: (value: number) => number
  readonly ticks: readonly number[]
}

const STEPS = [1, 2, 5]
const MOST_TICKS = 7

/** A logarithmic axis between two round numbers that enclose all values. Values up to zero lie at its start. */
export function logScale(values: readonly number[]): Scale {
  const positive = values.filter((value) => value > 0)
  if (positive.length === 0) return { at: () => 0, ticks: [] }
  const [least, most] = [Math.min(...positive), Math.max(...positive)]
  const round = roundNumbers(least, most)
  const low = round.findLast((number) => number <= least) as number
  const high = round.find((number) => number >= most && number > low) as number
  const within = round.filter((number) => number >= low && number <= high)
  return {
    at: (value) => (value > 0 ? Math.log(value / low) / Math.log(high / low) : 0),
    ticks: thinned(within),
  }
}

function roundNumbers(least: number, most: number): number[] {
  const found: number[] = []
  for (let power = Math.floor(Math.log10(least)) - 1; power <= Math.log10(most) + 1; power++) {
    // Divide integers, because negative powers of ten are not exact.
    for (const step of STEPS) found.push(power < 0 ? step / 10 ** -power : step * 10 ** power)
  }
  return found
}

/** Returns all ticks if they fit, otherwise powers of ten, or some of these. */
function thinned(numbers: readonly number[]): number[] {
  if (numbers.length <= MOST_TICKS) return [...numbers]
  const powers = numbers.filter((number) => Number.isInteger(Math.round(Math.log10(number) * 1e9) / 1e9))
  const every = Math.ceil(powers.length / MOST_TICKS)
  return powers.filter((_, index) => index % every === 0)
}
