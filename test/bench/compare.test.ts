/** @module-tag unit */
import { describe, expect, it } from 'vitest'
import { compareRuns } from '../../bench/compare.js'
import { comparisonTable } from '../../bench/comparison-table.js'
import type { ContenderResult, Run } from '../../bench/result.js'

const FLOOR = [1, 1.01, 0.99, 1, 1.02, 0.98, 1, 1.01]

describe('--compare', () => {
  it('reports changes beyond the noise as slower or faster', () => {
    const before = run({ slower: scaled(2), faster: scaled(2), same: scaled(2) })
    const after = run({ slower: scaled(3), faster: scaled(1), same: scaled(2.02) })
    const found = compareRuns(before, after)
    expect(found.map(({ contender, verdict }) => [contender, verdict])).toEqual([
      ['slower', 'slower'],
      ['faster', 'faster'],
      ['same', 'same'],
    ])
    expect(found[0]?.change).toBeCloseTo(0.5)
    expect(found[1]?.change).toBeCloseTo(-0.5)
  })

  it('treats a change within the spread of the samples as noise', () => {
    const wild = [1, 3, 1.2, 2.8, 1.1, 2.9, 1, 3]
    const [found] = compareRuns(run({ wild }), run({ wild: wild.map((value) => value * 1.4) }))
    expect(found?.verdict).toBe('same')
    expect(found?.noise).toBeGreaterThan(0.4)
  })

  it('ignores a slowdown that the floor shares', () => {
    const slow = FLOOR.map((value) => value * 3)
    const [found] = compareRuns(run({ ours: scaled(2) }), run({ ours: scaled(6) }, slow))
    expect(found).toMatchObject({ verdict: 'same', unit: 'times the floor' })
  })

  it('compares seconds if no floor ran', () => {
    const [found] = compareRuns(run({ ours: scaled(2) }, []), run({ ours: scaled(6) }, []))
    expect(found).toMatchObject({ verdict: 'slower', unit: 'seconds' })
  })

  it('leaves out drivers that only one run measured', () => {
    expect(compareRuns(run({ gone: scaled(2) }), run({ come: scaled(2) }))).toEqual([])
    expect(compareRuns(run({ failed: scaled(2) }), run({ failed: [] }))).toEqual([])
  })

  it('lists changes beyond the noise, and counts the other drivers', () => {
    const before = run({ worse: scaled(2), same: scaled(2) })
    const text = comparisonTable(compareRuns(before, run({ worse: scaled(3), same: scaled(2) })))
    expect(text).toMatch(/cow\/x +worse .*\+50 %.*slower/)
    expect(text).toContain('1 of 2 within the noise')
    expect(text).not.toMatch(/ same /)
  })
})

function scaled(by: number): number[] {
  return FLOOR.map((value) => value * by)
}

function run(drivers: Readonly<Record<string, readonly number[]>>, floor: readonly number[] = FLOOR): Run {
  const contenders = [
    ...Object.entries(drivers).map(([name, values]) => resultOf(name, 'driver', values)),
    resultOf('floor', 'floor', floor),
  ]
  return {
    version: 1,
    began: '2026-01-01T00:00:00.000Z',
    took: 1,
    machine: {
      system: '',
      processor: '',
      cores: 1,
      memory: 1,
      disks: [],
      node: '',
      user: 'root',
      load: [0, 0],
      peers: {},
    },
    results: [{ workload: 'cow/x', about: '', contenders }],
  }
}

function resultOf(name: string, kind: ContenderResult['kind'], values: readonly number[]): ContenderResult {
  return { name, kind, samples: values.map((total) => ({ total, phases: { all: total } })) }
}
