/** @module-tag thorough */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { Lease } from '#layerstack/durable/lease.js'
import { Lock } from '#layerstack/durable/lock.js'
import { noCalls, noMounts, unless } from '../support/needs.js'
import { run } from '../support/program.js'
import { heard, kill, Scratch } from './children.js'

const ROUNDS = 25

describe('Lease', () => {
  it('lists the names of its operation until it ends', async () => {
    await using scratch = new Scratch()
    const [first, second] = [
      await Lease.take(scratch.root, ['a', 'b']),
      await Lease.take(scratch.root, ['b', 'c']),
    ]
    expect([...(await Lease.named(scratch.root))].toSorted()).toEqual(['a', 'b', 'c'])
    await first.end()
    expect([...(await Lease.named(scratch.root))].toSorted()).toEqual(['b', 'c'])
    await second.end()
    expect(filesIn(scratch.root)).toEqual([])
  })

  it('is not abandoned while its operation in this process is live', async () => {
    await using scratch = new Scratch()
    const lease = await Lease.take(scratch.root, ['a'])
    expect(await abandonedIn(scratch.root)).toEqual([])
    await lease.end()
  })

  it('is not found in a missing directory', async () => {
    expect(await abandonedIn('/nowhere/at/all')).toEqual([])
    expect((await Lease.named('/nowhere/at/all')).size).toBe(0)
  })

  it('rejects a damaged file with STORE_CORRUPT', async () => {
    await using scratch = new Scratch()
    writeFileSync(scratch.path(`${'a'.repeat(24)}.json`), '["half')
    await expect(Lease.named(scratch.root)).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
  })
})

describe('Lease on a full disk', unless(noMounts), () => {
  it('uses the reserved space of the spare file, which its end restores', async () => {
    await using scratch = new Scratch()
    await run('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'layerstack-test', scratch.root])
    try {
      const leases = scratch.path('leases')
      await (await Lease.take(leases, ['a'])).end()
      await run('sh', ['-c', `cat /dev/zero > ${scratch.path('filler')} 2>/dev/null || true`])
      for (const name of ['b', 'c', 'd']) {
        const lease = await Lease.take(leases, [name])
        expect([...(await Lease.named(leases))]).toEqual([name])
        await expect(Lease.take(leases, ['more'])).rejects.toMatchObject({ code: 'NO_SPACE' })
        await lease.end()
      }
      const left = await Lease.take(leases, ['left'])
      await left.abandon()
      for await (const { lease, names } of Lease.abandoned(leases)) {
        expect(names).toEqual(['left'])
        await lease.end()
      }
    } finally {
      await run('umount', [scratch.root])
    }
  })
})

describe('Lease of a killed process', unless(noCalls), () => {
  it('is yielded to one caller at a time until it ends', async () => {
    await using scratch = new Scratch()
    const leases = scratch.path('leases')
    const holder = scratch.start('holder.mjs', ['hold', scratch.path('lock'), leases])
    await heard(holder)
    expect(await abandonedIn(leases)).toEqual([])
    await kill(holder)
    for await (const { names } of Lease.abandoned(leases)) {
      expect(names).toEqual(['one', 'two'])
      expect(await abandonedIn(leases)).toEqual([])
    }
    expect([...(await Lease.named(leases))]).toEqual(['one', 'two'])
    for await (const { lease } of Lease.abandoned(leases)) await lease.end()
    expect(filesIn(leases)).toEqual([])
  })

  it(`is complete or absent after a kill at a random moment, at least ${ROUNDS} times and until a kill hits a held lease`, async () => {
    await using scratch = new Scratch()
    const leases = scratch.path('leases')
    mkdirSync(leases)
    const found: number[] = []
    for (let round = 0; round < ROUNDS || (!found.includes(1) && round < 20 * ROUNDS); round++) {
      const looper = scratch.start('holder.mjs', ['loop', scratch.path('lock'), leases])
      await heard(looper)
      await sleep(Math.random() * 40)
      await kill(looper)
      const all: string[][] = []
      for await (const { lease, names } of Lease.abandoned(leases)) {
        all.push(names)
        await lease.end()
      }
      expect(all.length).toBeLessThanOrEqual(1)
      for (const names of all) expect(names).toEqual(['one', 'two'])
      found.push(all.length)
      expect(filesIn(leases)).toEqual([])
      await (await Lock.acquire(scratch.path('lock'))).release()
    }
    // At least one kill must hit a held lease, or the test shows nothing.
    expect(found).toContain(1)
  })
})

/** Without the spare file. */
function filesIn(directory: string): string[] {
  return readdirSync(directory).filter((name) => name !== 'spare')
}

async function abandonedIn(directory: string): Promise<string[][]> {
  const found: string[][] = []
  for await (const { names } of Lease.abandoned(directory)) found.push(names)
  return found
}
