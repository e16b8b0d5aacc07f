import { invalidType } from './arguments.js'
import type { TimeLike } from './layer-fs.js'

/**
 * Converts a caller's time to nanoseconds since 1970. Takes seconds (also as a string), a `Date`, or nanoseconds as a
 * `bigint`.
 */
export function nanoseconds(time: TimeLike): bigint {
  if (typeof time === 'bigint') return time
  const milliseconds = time instanceof Date ? time.getTime() : secondsOf(time) * 1000
  if (!Number.isFinite(milliseconds))
    throw invalidType('time', 'a Date, a bigint or a number of seconds', time)
  return BigInt(Math.round(milliseconds * 1000)) * 1000n
}

function secondsOf(time: unknown): number {
  if (typeof time === 'string' && time.trim() !== '') return Number(time)
  return typeof time === 'number' ? time : Number.NaN
}
