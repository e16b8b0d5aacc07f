import { readFileSync } from 'node:fs'

let known: number | undefined

/**
 * Returns the process's umask as of the first call. `process.umask()` would briefly set it to 0, and files that other
 * threads create in that moment could be world-writable.
 */
export function umask(): number {
  return (known ??= fromProc() ?? process.umask())
}

/** Returns `undefined` on systems other than Linux. */
function fromProc(): number | undefined {
  try {
    const digits = /^Umask:\s*([0-7]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]
    return digits === undefined ? undefined : parseInt(digits, 8)
  } catch {
    return undefined
  }
}
