import { readFileSync } from 'node:fs'

let known: number | undefined

/**
 * The umask that this process had when it was first asked for. `process.umask()` would set it to 0 for a moment, and what
 * other threads make in that moment could be written by everybody.
 */
export function umask(): number {
  return (known ??= fromProc() ?? process.umask())
}

/** `undefined` on other systems than Linux. */
function fromProc(): number | undefined {
  try {
    const digits = /^Umask:\s*([0-7]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]
    return digits === undefined ? undefined : parseInt(digits, 8)
  } catch {
    return undefined
  }
}
