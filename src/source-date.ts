const BILLION = 1_000_000_000n

/**
 * The moment that `SOURCE_DATE_EPOCH` names, `undefined` where it is not set or empty. It is read at each call, and stands
 * for the clock in everything that an image says. Throws a `TypeError` for what is no whole number of seconds.
 */
export function sourceDate(): Date | undefined {
  const text = process.env['SOURCE_DATE_EPOCH']
  if (text === undefined || text === '') return undefined
  const date = new Date(/^\d+$/.test(text) ? Number(text) * 1000 : Number.NaN)
  if (!Number.isNaN(date.getTime())) return date
  throw new TypeError(
    `SOURCE_DATE_EPOCH must be a whole number of seconds since 1970, not ${JSON.stringify(text)}`,
  )
}

/** The same in nanoseconds: later modification times become this one in the layers that are made. */
export function sourceDateNs(): bigint | undefined {
  const date = sourceDate()
  return date && (BigInt(date.getTime()) / 1000n) * BILLION
}
