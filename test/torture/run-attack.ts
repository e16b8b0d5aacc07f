import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { removeTree } from '../support/mounts.js'
import type { Attack, AttackReport } from './attack.js'

/** Runs an attack for about `seconds` in a temporary directory, then removes the directory and the mounts in it. */
export async function runAttack(attack: Attack, seed: number, seconds: number): Promise<AttackReport> {
  const scratch = mkdtempSync(join(tmpdir(), 'layerstack-torture-'))
  const end = Date.now() + seconds * 1000
  try {
    return await attack.run({ seed, scratch, hasTime: () => Date.now() < end })
  } finally {
    await removeTree(scratch)
  }
}
