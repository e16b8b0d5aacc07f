import type { JudgeName } from '../judges.js'
import type { reasons } from './reasons.js'

/** A difference between the trees that judges and this library unpack from an odd layer. */
export interface Disagreement {
  /** The name of the odd layer. */
  readonly odd: string
  readonly judges: readonly JudgeName[]
  /** The result of `disagreement`. */
  readonly shows: readonly string[]
  readonly why: readonly (keyof typeof reasons)[]
}

/** Lines that differ: ours with `-`, the judge's with `+`; or one line that says `refused` or `broken`. */
export function disagreement(ours: readonly string[], theirs: readonly string[]): string[] {
  if (/^(refused|broken):/.test(theirs[0] ?? '')) return [...theirs]
  return [
    ...ours.filter((line) => !theirs.includes(line)).map((line) => `- ${line}`),
    ...theirs.filter((line) => !ours.includes(line)).map((line) => `+ ${line}`),
  ]
}
