import { expect, it } from 'vitest'
import { card } from '../../bench/page/card.js'
import { allocatedElsewhere, withRunElsewhere, type ContenderResult, type Run } from '../../bench/result.js'
import { table } from '../../bench/table.js'

const MEBIBYTE = 2 ** 20

it('shows only the allocation of a driver that another machine of the run measured', () => {
  const here = runOf(ran('overlay2/kernel', 1024), ran('btrfs/kernel', 1))
  const there = runOf(
    ran('overlay2/kernel', 1000),
    ran('devicemapper/kernel', 3),
    ran('overlayfs', 1000, 'floor'),
  )
  const run = withRunElsewhere(here, 'uml', 'In User-Mode Linux', there)
  const [result] = run.results as [Run['results'][number]]
  expect(allocatedElsewhere(run, result).map(({ contender }) => contender.name)).toEqual([
    'devicemapper/kernel',
  ])
  expect(table(result, run)).toMatch(/^ *devicemapper\/kernel {2,}3 MiB +In User-Mode Linux$/m)
  expect(table(result)).not.toContain('devicemapper')
  const markup = card(result, run, () => ({ colour: 'red' }) as never).text
  expect(markup.match(/class="bar" style="width:[\d.]+%;background/g)).toHaveLength(3)
  expect(markup).toContain('title="In User-Mode Linux">devicemapper/kernel')
})

function runOf(...contenders: ContenderResult[]): Run {
  const result = { workload: 'cow/inside', about: 'write a part', growth: true, contenders }
  return { version: 1, began: '', took: 1, machine: {} as Run['machine'], results: [result] }
}

function ran(name: string, mebibytes: number, kind: ContenderResult['kind'] = 'driver'): ContenderResult {
  return { name, kind, samples: [{ total: 1, phases: { write: 1 } }], allocated: mebibytes * MEBIBYTE }
}
