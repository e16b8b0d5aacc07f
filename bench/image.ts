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
  const able = process.getuid?.() === 0 && realImageNeeds.every((name) => findProgram(name) !== undefined)
  if (!able || asked.every(({ onImage }) => onImage !== true)) return undefined
  return (await realImage()).archive
}
