import type { JudgeName } from '../judges.js'
import type { reasons } from './reasons.js'

/** Where judges make another tree of an odd layer than we do. */
export interface Disagreement {
  /** The name of the odd layer. */
  readonly odd: string
  readonly judges: readonly JudgeName[]
  /** As `disagreement` tells it. */
  readonly shows: readonly string[]
  readonly why: readonly (keyof typeof reasons)[]
}

/** What a judge shows otherwise: our lines with `-`, its own with `+`; or that it refuses, or breaks, the image. */
export function disagreement(ours: readonly string[], theirs: readonly string[]): string[] {
  if (/^(refused|broken):/.test(theirs[0] ?? '')) return [...theirs]
  return [
    ...ours.filter((line) => !theirs.includes(line)).map((line) => `- ${line}`),
    ...theirs.filter((line) => !ours.includes(line)).map((line) => `+ ${line}`),
  ]
}
