/** @module-tag thorough */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { driverConformance } from '#layerstack/conformance/index.js'
import { noCalls, unless } from '../support/needs.js'
import { copy } from './copy-driver.js'

describe('a minimal third-party driver', async () => {
  if (noCalls === undefined) await driverConformance({ test: it, factory: copy, depth: 20 })
})

describe('driverConformance under node:test', () => {
  it('passes for vfs', unless(noCalls), () => {
    const said = execFileSync(process.execPath, ['--test', join(import.meta.dirname, 'with-node-test.mjs')], {
      encoding: 'utf8',
      env: { ...process.env, NODE_TEST_CONTEXT: undefined },
    })
    expect(Number(/^# pass (\d+)$/m.exec(said)?.[1])).toBeGreaterThan(80)
    expect(said).toMatch(/^# fail 0$/m)
  })
})
