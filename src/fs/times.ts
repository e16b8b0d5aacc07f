import type { TimeLike } from './layer-fs.js'

/** Nanoseconds since 1970 of what callers give: seconds, a `Date`, or nanoseconds already. */
export function nanoseconds(time: TimeLike): bigint {
  if (typeof time === 'bigint') return time
  const milliseconds = time instanceof Date ? time.getTime() : time * 1000
  if (!Number.isFinite(milliseconds)) throw new TypeError(`not a time: ${String(time)}`)
  return BigInt(Math.round(milliseconds * 1000)) * 1000n
}
