const BILLION = 1_000_000_000n

/**
 * Returns the time in `SOURCE_DATE_EPOCH`, or `undefined` if it is unset or empty. Reads the variable on every call.
 * This time replaces the clock in all image metadata. Throws `TypeError` if the value is not a whole number of seconds.
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

/** Returns the same time in nanoseconds. Layers that are created clamp later modification times to it. */
export function sourceDateNs(): bigint | undefined {
  const date = sourceDate()
  return date && (BigInt(date.getTime()) / 1000n) * BILLION
}
