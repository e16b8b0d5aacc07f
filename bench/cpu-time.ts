import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { processesNaming } from './memory.js'

/**
 * Starts measuring the processor time of this process, its children, and other processes with `word` in their
 * arguments. Children count once they have exited. Except for this process, the resolution is one clock tick.
 *
 * @returns a function that stops and returns the seconds
 */
export function startCpuTime(word: string | undefined): () => number {
  // Read first, so that reading it isn't counted.
  const othersBefore = timeOfOthers(word)
  const ownBefore = ownTime()
  return () => {
    const own = ownTime() - ownBefore
    return own + timeOfOthers(word) - othersBefore
  }
}

function ownTime(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6 + ticksOf('self', CHILDREN) / TICKS
}

function timeOfOthers(word: string | undefined): number {
  const ids = word === undefined ? [] : processesNaming(word)
  return ids.reduce((sum, id) => sum + ticksOf(id, ALL), 0) / TICKS
}

/** Fields of /proc/PID/stat, counted from the one after the name: utime, stime, cutime, cstime. */
const ALL = [11, 12, 13, 14]
const CHILDREN = [13, 14]
const TICKS = clockTicks()

function ticksOf(id: string, fields: readonly number[]): number {
  try {
    const stat = readFileSync(`/proc/${id}/stat`, 'latin1')
    const values = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields.reduce((sum, field) => sum + Number(values[field]), 0)
  } catch {
    return 0
  }
}

function clockTicks(): number {
  try {
    return Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))
  } catch {
    return 100
  }
}
