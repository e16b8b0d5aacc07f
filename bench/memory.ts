import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

/** Resets `peakMemory` on Linux. On other systems it is the peak of the process's whole life. */
export function resetPeakMemory(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5')
  } catch {
    // Not Linux.
  }
}

/** Returns the peak resident memory of this process in bytes. */
export function peakMemory(): number {
  return peakOf('self') ?? process.resourceUsage().maxRSS * 1024
}

/** Returns the sum of the peaks of processes with `word` in their arguments, or `undefined` if none exists. */
export function peakMemoryNaming(word: string): number | undefined {
  const peaks = processesNaming(word).map((id) => peakOf(id) ?? 0)
  return peaks.length === 0 ? undefined : peaks.reduce((sum, peak) => sum + peak, 0)
}

/** Returns the ids of other processes with `word` in their arguments. */
export function processesNaming(word: string): string[] {
  return processIds().filter((id) => id !== String(process.pid) && argumentsOf(id).includes(word))
}

function processIds(): string[] {
  try {
    return readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  } catch {
    return []
  }
}

function argumentsOf(id: string): string {
  try {
    return readFileSync(`/proc/${id}/cmdline`, 'latin1')
  } catch {
    return ''
  }
}

function peakOf(id: string): number | undefined {
  try {
    const found = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${id}/status`, 'latin1'))
    return found === null ? undefined : Number(found[1]) * 1024
  } catch {
    return undefined
  }
}
