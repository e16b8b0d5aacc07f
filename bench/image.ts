import { resolve } from 'node:path'
import { realImage, realImageNeeds } from '../test/fixtures/real-image.js'
import { findProgram } from '../test/support/program.js'
import type { Workload } from './workload.js'

/** The archive to work on: the one given, or, where a workload needs one and it can be made here, that of the tests. */
export async function imageArchive(
  given: string | undefined,
  asked: readonly Workload[],
): Promise<string | undefined> {
  if (given !== undefined) return resolve(given)
  if (toMakeOne() !== undefined || asked.every(({ onImage }) => onImage !== true)) return undefined
  return (await realImage()).archive
}

/** What whoever runs this would have to do so that an image can be made here; `undefined` when it can be. */
export function toMakeOne(): string | undefined {
  if (process.getuid?.() !== 0) return 'run as root'
  const missing = realImageNeeds.filter((name) => findProgram(name) === undefined)
  return missing.length > 0 ? `install ${missing.join(', ')}` : undefined
}
