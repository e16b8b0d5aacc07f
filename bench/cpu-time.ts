import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { processesNaming } from './memory.js'

/**
 * Seconds of processor time that something takes: in this process and its children, and, with a word, in processes with
 * that word in their arguments. Children count when they have ended, in ticks of the system's clock.
 *
 * @returns how to stop, and be told
 */
export function startCpuTime(word: string | undefined): () => number {
  // What looking at others takes is not counted.
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

/** Of /proc/PID/stat, counted from the field after the name: utime, stime, cutime, cstime. */
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
