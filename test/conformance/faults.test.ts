/** @module-tag every-identity */
import { describe, expect, it } from 'vitest'
import { driverConformance, type ConformanceOptions } from '#layerstack/conformance/index.js'
import { broken } from './broken.js'
import { faults } from './faults.js'

const whole = await casesOf(broken({}))

describe('driverConformance', () => {
  it.each(faults)('fails a driver that $name', async ({ foundBy, ...fault }) => {
    await whole.get(foundBy)?.()
    const cases = await casesOf(broken(fault))
    expect([...cases.keys()]).toContain(foundBy)
    await expect(cases.get(foundBy)?.()).rejects.toThrow()
  })
})

async function casesOf(
  factory: ConformanceOptions['factory'],
): Promise<ReadonlyMap<string, () => Promise<void>>> {
  const cases = new Map<string, () => Promise<void>>()
  await driverConformance({ factory, depth: 1, test: (name, run) => cases.set(name, run) })
  return cases
}
