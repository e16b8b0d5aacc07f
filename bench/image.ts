import { resolve } from 'node:path'
import { realImage, realImageNeeds } from '../test/fixtures/real-image.js'
import { findProgram } from '../test/support/program.js'
import type { Workload } from './workload.js'

/** Returns the given archive, or makes the tests' archive if a workload needs one and this machine can make it. */
export async function imageArchive(
  given: string | undefined,
  asked: readonly Workload[],
): Promise<string | undefined> {
  if (given !== undefined) return resolve(given)
  if (toMakeOne() !== undefined || asked.every(({ onImage }) => onImage !== true)) return undefined
  return (await realImage()).archive
}

/** Returns what the user must do before an image can be made, or `undefined` if it can be made. */
export function toMakeOne(): string | undefined {
  if (process.getuid?.() !== 0) return 'run as root'
  const missing = realImageNeeds.filter((name) => findProgram(name) === undefined)
  return missing.length > 0 ? `install ${missing.join(', ')}` : undefined
}
