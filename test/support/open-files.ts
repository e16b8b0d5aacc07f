import { readdirSync, readlinkSync } from 'node:fs'

/** Paths of what this process has open. */
export function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)]
    } catch {
      // The descriptor that lists them is gone by now.
      return []
    }
  })
}
