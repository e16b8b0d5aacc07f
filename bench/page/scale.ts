/** From values to a share of the axis, 0 to 1. */
export interface Scale {
  readonly at: (value: number) => number
  readonly ticks: readonly number[]
}

const STEPS = [1, 2, 5]
const MOST_TICKS = 7

/** From one round number to another, with all values between; those that are not above zero lie at its beginning. */
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
    // As a fraction of whole numbers, which is exact where a power below one is not.
    for (const step of STEPS) found.push(power < 0 ? step / 10 ** -power : step * 10 ** power)
  }
  return found
}

/** As many as can be told apart: all, or powers of ten alone, or some of them. */
function thinned(numbers: readonly number[]): number[] {
  if (numbers.length <= MOST_TICKS) return [...numbers]
  const powers = numbers.filter((number) => Number.isInteger(Math.round(Math.log10(number) * 1e9) / 1e9))
  const every = Math.ceil(powers.length / MOST_TICKS)
  return powers.filter((_, index) => index % every === 0)
}
