import { appendFileSync } from 'node:fs'
import { findProgram } from './program.js'

/** Why what needs these programs, as root, cannot be done here; `undefined` where it can. */
export function whyNot(...programs: readonly string[]): string | undefined {
  if (process.platform !== 'linux') return 'this is no Linux'
  if (process.getuid?.() !== 0) return 'an ordinary user runs no daemon'
  const missing = programs.filter((program) => findProgram(program) === undefined)
  return missing.length === 0 ? undefined : `not installed: ${missing.join(', ')}`
}

/** Says why a part of a test file is skipped, there and then, and in the list at the end of the run. */
export function skipped(reason: string | undefined, file: string): boolean {
  if (reason === undefined) return false
  console.warn(`skipped: ${reason}`)
  const list = process.env['LAYERSTACK_TEST_REASONS']
  if (list !== undefined) appendFileSync(list, `${JSON.stringify({ file, reason })}\n`)
  return true
}
