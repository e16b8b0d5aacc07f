import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { Lease } from '#layerstack/durable/lease.js'
import { Lock } from '#layerstack/durable/lock.js'
import { noCalls, noMounts, unless } from '../support/needs.js'
import { run } from '../support/program.js'
import { heard, kill, Place } from './children.js'

const ROUNDS = 25

describe('a lease', () => {
  it('names what its operation makes, until it ends', async () => {
    await using place = new Place()
    const [first, second] = [
      await Lease.take(place.root, ['a', 'b']),
      await Lease.take(place.root, ['b', 'c']),
    ]
    expect([...(await Lease.named(place.root))].toSorted()).toEqual(['a', 'b', 'c'])
    await first.end()
    expect([...(await Lease.named(place.root))].toSorted()).toEqual(['b', 'c'])
    await second.end()
    expect(filesIn(place.root)).toEqual([])
  })

  it('of a live operation is not abandoned, in this process neither', async () => {
    await using place = new Place()
    const lease = await Lease.take(place.root, ['a'])
    expect(await abandonedIn(place.root)).toEqual([])
    await lease.end()
  })

  it('is found by nobody where there is no directory', async () => {
    expect(await abandonedIn('/nowhere/at/all')).toEqual([])
    expect((await Lease.named('/nowhere/at/all')).size).toBe(0)
  })

  it('that is not what was written is STORE_CORRUPT', async () => {
    await using place = new Place()
    writeFileSync(place.path(`${'a'.repeat(24)}.json`), '["half')
    await expect(Lease.named(place.root)).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
  })
})

describe('a lease on a full disk', unless(noMounts), () => {
  it('is written into the room that is kept for one; what it made room for is room for the next', async () => {
    await using place = new Place()
    await run('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'layerstack-test', place.root])
    try {
      const leases = place.path('leases')
      await (await Lease.take(leases, ['a'])).end()
      await run('sh', ['-c', `cat /dev/zero > ${place.path('filler')} 2>/dev/null || true`])
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
      await run('umount', [place.root])
    }
  })
})

describe('a lease of a killed process', unless(noCalls), () => {
  it('is abandoned, to one at a time, until what it names is cleared', async () => {
    await using place = new Place()
    const leases = place.path('leases')
    const holder = place.start('holder.mjs', ['hold', place.path('lock'), leases])
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

  it(`names all or nothing, and leaves nothing behind, killed at any moment, ${ROUNDS} times and until one was killed under it`, async () => {
    await using place = new Place()
    const leases = place.path('leases')
    mkdirSync(leases)
    const found: number[] = []
    for (let round = 0; round < ROUNDS || (!found.includes(1) && round < 20 * ROUNDS); round++) {
      const looper = place.start('holder.mjs', ['loop', place.path('lock'), leases])
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
      await (await Lock.acquire(place.path('lock'))).release()
    }
    // Else no process was killed under a lease, and nothing was shown.
    expect(found).toContain(1)
  })
})

/** But for the one that is kept. */
function filesIn(directory: string): string[] {
  return readdirSync(directory).filter((name) => name !== 'spare')
}

async function abandonedIn(directory: string): Promise<string[][]> {
  const found: string[][] = []
  for await (const { names } of Lease.abandoned(directory)) found.push(names)
  return found
}
