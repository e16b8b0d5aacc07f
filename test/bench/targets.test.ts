/** @module-tag unit */
import { describe, expect, it } from 'vitest'
import { oneRun, withRunElsewhere, type ContenderResult, type Run } from '../../bench/result.js'
import { excesses, standings } from '../../bench/targets.js'

describe('targets', () => {
  it('are reached or missed by the ratio of the times', () => {
    const found = standings(run([workload('image/load', [1, 10, 1], [5, 50, 5])]))
    expect(found).toEqual([
      {
        workload: 'image/load',
        ours: 'overlay2/kernel',
        theirs: 'docker',
        atMost: 0.25,
        found: 0.2,
        reached: true,
      },
    ])
    const [missed] = standings(run([workload('image/load', [3, 3, 3], [5, 5, 5])]))
    expect(missed).toMatchObject({ found: 0.6, reached: false })
  })

  it('compare the medians of one driver on two workloads', () => {
    const sized = (count: string, values: readonly number[]) => ({
      workload: `container/snapshot of ${count} files`,
      about: '',
      contenders: [resultOf('btrfs/userspace', 'driver', values)],
    })
    const [found] = standings(run([sized('10', [1, 2, 9]), sized('100,000', [3, 3])]))
    expect(found).toMatchObject({ ours: 'btrfs/userspace', found: 1.5, atMost: 2, reached: true })
  })

  it('are left out if one of the two contenders did not run', () => {
    expect(standings(run([workload('image/load', [1], [])]))).toEqual([])
    expect(standings(run([]))).toEqual([])
  })

  it('limit the memory and the event-loop delay of drivers only', () => {
    const big = { peakMemory: 3e8, loopDelay: { p99: 0.2, max: 1 } }
    const ours = resultOf('overlay2/kernel', 'driver', [1])
    const results = [
      {
        workload: 'a/b',
        about: '',
        contenders: [
          { ...ours, ...big },
          { ...resultOf('d', 'peer', [1]), ...big },
        ],
      },
    ]
    expect(excesses(run(results))).toEqual([
      { workload: 'a/b', contender: 'overlay2/kernel', peakMemory: 3e8, loopDelay: 0.2 },
    ])
  })
})

describe('results of another machine', () => {
  const slow = workload('container/x', [9], [9])
  const big = { ...slow, contenders: slow.contenders.map((each) => ({ ...each, peakMemory: 1e9 })) }
  const joined = withRunElsewhere(run([workload('container/x', [1], [1])]), 'uml', 'In there', run([big]))

  it('form a separate group', () => {
    expect(joined.results.map(({ workload: name }) => name)).toEqual(['container/x', 'uml/container/x'])
    expect(joined.elsewhere?.['uml']?.title).toBe('In there')
    expect(oneRun([joined]).elsewhere).toEqual(joined.elsewhere)
  })

  it('are exempt from the limits', () => {
    expect(excesses(run([big]))).toHaveLength(1)
    expect(excesses(joined)).toEqual([])
  })
})

describe('oneRun', () => {
  it('joins all workloads, and keeps the later result of a repeated one', () => {
    const first = run([workload('a/x', [1], [1]), workload('a/y', [1], [1])])
    const second = run([workload('a/y', [2], [2])], [3, 9])
    const one = oneRun([first, second])
    expect(one.results.map(({ workload: name }) => name)).toEqual(['a/x', 'a/y'])
    expect(one.results[1]?.contenders[0]?.samples[0]?.total).toBe(2)
    expect(one.machine.load).toEqual([0, 9])
    expect(one.took).toBe(2)
  })
})

function run(results: Run['results'], load: readonly [number, number] = [0, 1]): Run {
  const machine = {
    system: '',
    processor: '',
    cores: 1,
    memory: 1,
    disks: [],
    node: '',
    user: 'root' as const,
  }
  return {
    version: 1,
    began: '2026-01-01T00:00:00.000Z',
    took: 1,
    machine: { ...machine, load, peers: {} },
    results,
  }
}

function workload(name: string, ours: readonly number[], docker: readonly number[]) {
  const contenders = [resultOf('overlay2/kernel', 'driver', ours), resultOf('docker', 'peer', docker)]
  return { workload: name, about: '', contenders }
}

function resultOf(name: string, kind: ContenderResult['kind'], values: readonly number[]): ContenderResult {
  return { name, kind, samples: values.map((total) => ({ total, phases: { all: total } })) }
}
