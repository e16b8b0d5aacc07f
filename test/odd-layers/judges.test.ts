/** @module-tag judge */
import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { oddLayers, refusedLayers } from '#layerstack/conformance/index.js'
import { enterDirectory } from '../support/ledger.js'
import { removeTree } from '../support/mounts.js'
import { noDaemon, notInstalled, unless } from '../support/needs.js'
import { disagreement, disagreements, taken } from './disagreements/index.js'
import { named } from './odd-image.js'
import { complaintOf, judges, type Judge, type JudgeName } from './judges.js'

const HOME = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()
const reason = noDaemon ?? notInstalled('dockerd', 'containerd', 'ctr', 'umoci', 'setpriv')

describe.each(Object.keys(judges) as JudgeName[])('%s', (name) => {
  let scratch: string
  let judge: Judge

  beforeAll(async () => {
    if (reason !== undefined) return
    scratch = mkdtempSync(join(HOME, 'layerstack-odd-'))
    enterDirectory(scratch)
    judge = await judges[name](scratch)
  })

  afterAll(async () => {
    if (reason !== undefined) return
    await judge[Symbol.asyncDispose]()
    await removeTree(scratch)
  })

  it.each(named(oddLayers))('agrees on %s, or differs as recorded', unless(reason), async (_, odd) => {
    const theirs = await judge.look(odd.layers).catch((error: unknown) => [`refused: ${complaintOf(error)}`])
    const known = disagreements.filter((each) => each.odd === odd.name && each.judges.includes(name))
    expect(disagreement(odd.tree, theirs)).toEqual(known.flatMap(({ shows }) => shows))
  })

  const asked = name === 'umoci' ? [] : named(refusedLayers)
  it.each(asked)(
    'rejects %s, or is recorded as accepting it',
    unless(reason),
    async (_, { name: odd, layers }) => {
      const isTaken = await judge.look(layers).then(
        () => true,
        () => false,
      )
      expect(isTaken).toBe(taken[odd]?.includes(name) ?? false)
    },
  )
})

it('the records name existing odd layers, each at most once per judge', () => {
  const names = new Set(oddLayers.map(({ name }) => name))
  const refused = new Set(refusedLayers.map(({ name }) => name))
  expect(Object.keys(taken).filter((name) => !refused.has(name))).toEqual([])
  const recorded = disagreements.flatMap(({ odd, judges: programs }) =>
    programs.map((judge) => `${judge}: ${odd}`),
  )
  expect(disagreements.filter(({ odd }) => !names.has(odd))).toEqual([])
  expect(recorded.filter((each, index) => recorded.indexOf(each) !== index)).toEqual([])
})
