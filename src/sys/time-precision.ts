import { lstatSync, lutimesSync } from 'node:fs'
import { libcAvailable } from './libc.js'
import { utimensat } from './times.js'

/** The precision and range of a file system's modification times. */
export interface TimePrecision {
  /** The unit that times are truncated to. */
  readonly unitNs: number
  /** What a time in the year 2286 becomes, in seconds since 1970, if the file system cannot store it. */
  readonly latest?: number
}

const BILLION = 1_000_000_000n
/** Starts at FAT's two seconds. */
const UNITS = [2n * BILLION, BILLION, 10_000_000n, 1_000_000n, 1000n, 100n]
const ODD = 1_000_000_001n * BILLION + 987_654_321n
const LATE = 10_000_000_000n * BILLION

/** Sets times of a file, and reads back what was stored. */
export function timePrecisionAt(file: string): TimePrecision {
  const kept = keptTime(file, ODD)
  const late = keptTime(file, LATE)
  return {
    unitNs: Number(UNITS.find((unit) => kept % unit === 0n) ?? 1n),
    ...(late !== LATE && { latest: Number(late / BILLION) }),
  }
}

function keptTime(file: string, ns: bigint): bigint {
  if (libcAvailable().works) utimensat(file, ns, ns)
  else lutimesSync(file, Number(ns) / 1e9, Number(ns) / 1e9)
  return lstatSync(file, { bigint: true }).mtimeNs
}
