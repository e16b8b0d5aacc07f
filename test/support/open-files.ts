import { readdirSync, readlinkSync } from 'node:fs'

/** Returns the paths of this process's open descriptors. */
export function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)]
    } catch {
      // The descriptor that lists them is closed by now.
      return []
    }
  })
}
