import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { tryLockFile } from '#layerstack/durable/lock-file.js'
import { Lock } from '#layerstack/durable/lock.js'
import { processMark } from '#layerstack/sys/process-mark.js'
import { noCalls, unless } from '../support/needs.js'
import { heard, kill, Place } from './children.js'

const KILLS = 12
const WITHOUT_KOFFI = { LAYERSTACK_NO_KOFFI: '1' }

describe('a lock', () => {
  it('is for one at a time, in the order of asking', async () => {
    await using place = new Place()
    const order: number[] = []
    let inside = 0
    const work = async (number: number) => {
      await using lock = await Lock.acquire(place.path('lock'))
      expect(lock).toBeInstanceOf(Lock)
      expect(++inside).toBe(1)
      await sleep(1)
      inside--
      order.push(number)
    }
    await Promise.all(Array.from({ length: 30 }, (_, number) => work(number)))
    expect(order).toEqual(Array.from({ length: 30 }, (_, number) => number))
  })

  it('that is held is not to be had, and can be given back twice', async () => {
    await using place = new Place()
    const first = await Lock.acquire(place.path('lock'))
    expect(await Lock.tryAcquire(place.path('lock'))).toBeUndefined()
    await first.release()
    const second = await Lock.tryAcquire(place.path('lock'))
    await first.release()
    expect(await Lock.tryAcquire(place.path('lock'))).toBeUndefined()
    await second?.release()
  })

  it('is waited for no longer than patience lasts: STORE_LOCKED, behind a process or behind a caller', async () => {
    await using place = new Place()
    await using held = (await Lock.tryAcquire(place.path('lock'))) as Lock
    expect(held).toBeDefined()
    const both = [1, 2].map(() => Lock.acquire(place.path('lock'), { patience: 60 }))
    for (const result of await Promise.allSettled(both)) {
      expect(result).toMatchObject({
        status: 'rejected',
        reason: { code: 'STORE_LOCKED', path: place.path('lock') },
      })
    }
  })

  it('is no longer waited for when the signal says so, and the others in the queue move up', async () => {
    await using place = new Place()
    const held = await Lock.acquire(place.path('lock'))
    const [first, second] = [new AbortController(), new AbortController()]
    const waiting = [first, second].map(({ signal }) => Lock.acquire(place.path('lock'), { signal }))
    const last = Lock.acquire(place.path('lock'))
    first.abort(new Error('enough'))
    await expect(waiting[0]).rejects.toThrow('enough')
    await held.release()
    await (await waiting[1])?.release()
    second.abort(new Error('too late'))
    await (await last).release()
    await expect(Lock.acquire(place.path('lock'), { signal: second.signal })).rejects.toThrow('too late')
    await (await Lock.acquire(place.path('lock'))).release()
  })

  it('on a file that was removed meanwhile is none', unless(noCalls), async () => {
    await using place = new Place()
    const held = await Lock.acquire(place.path('lock'))
    rmSync(place.path('lock'))
    const other = await Lock.tryAcquire(place.path('lock'))
    expect(other).toBeDefined()
    await held.release()
    expect(await Lock.tryAcquire(place.path('lock'))).toBeUndefined()
    await other?.release()
  })

  it('in a directory that is not there is ENOENT, and the queue goes on', async () => {
    await using place = new Place()
    const both = [1, 2].map(() => Lock.acquire(place.path('nowhere', 'lock')))
    for (const result of await Promise.allSettled(both))
      expect(result).toMatchObject({ reason: { code: 'ENOENT' } })
  })
})

for (const [kind, environment] of [
  ['by flock', {}],
  ['by a file', WITHOUT_KOFFI],
] as const) {
  const reason = kind === 'by flock' ? noCalls : undefined
  describe(`a lock between processes, ${kind}`, unless(reason), () => {
    const isFree = async (path: string) => {
      const lock = kind === 'by a file' ? await tryLockFile(`${path}.held`) : await Lock.tryAcquire(path)
      await (lock instanceof Lock ? lock.release() : lock?.())
      return lock !== undefined
    }

    it('keeps them apart', async () => {
      await using place = new Place()
      writeFileSync(place.path('counter'), '0')
      const args = [place.path('lock'), place.path('counter'), '200']
      const children = [1, 2, 3].map(() => place.start('counter.mjs', args, environment))
      const ends = await Promise.all(children.map((child) => once(child, 'exit')))
      expect(ends).toEqual([1, 2, 3].map(() => [0, null]))
      expect(readFileSync(place.path('counter'), 'utf8')).toBe('600')
    })

    it(`ends with its process, killed ${KILLS} times`, async () => {
      await using place = new Place()
      for (let round = 0; round < KILLS; round++) {
        const holder = place.start(
          'holder.mjs',
          ['hold', place.path('lock'), place.path('leases')],
          environment,
        )
        await heard(holder)
        expect(await isFree(place.path('lock'))).toBe(false)
        await kill(holder)
      }
      expect(await isFree(place.path('lock'))).toBe(true)
    })
  })
}

describe('a lock on a file that its holders remove', unless(noCalls), () => {
  it('keeps processes apart', async () => {
    await using place = new Place()
    writeFileSync(place.path('counter'), '0')
    const args = [place.path('lock'), place.path('counter'), '4000', 'removes']
    const children = [1, 2, 3].map(() => place.start('counter.mjs', args))
    const ends = await Promise.all(children.map((child) => once(child, 'exit')))
    expect(ends).toEqual([1, 2, 3].map(() => [0, null]))
    expect(readFileSync(place.path('counter'), 'utf8')).toBe('12000')
  })
})

describe('a lock file', () => {
  it('of a process that ended is taken over, by one of many', async () => {
    await using place = new Place()
    const path = place.path('held')
    const [, ...rest] = (await processMark()).split(' ')
    for (const dead of [['4194305', ...rest], [String(process.pid), '1', ...rest.slice(1)], ['torn'], ['']]) {
      writeFileSync(path, dead.join(' '))
      const taken = (await Promise.all(Array.from({ length: 20 }, () => tryLockFile(path)))).filter(
        (release) => release !== undefined,
      )
      expect(taken.length).toBeLessThanOrEqual(1)
      await (taken[0] ?? (await tryLockFile(path)))?.()
      expect(readdirSync(place.root)).toEqual([])
    }
  })

  it(
    'of a process in another container is left alone',
    unless(existsSync('/proc/self/ns/pid') ? undefined : 'this kernel has no PID namespaces'),
    async () => {
      await using place = new Place()
      const [pid, start, boot] = (await processMark()).split(' ')
      writeFileSync(place.path('held'), [pid, start, boot, 'pid:[1]'].join(' '))
      expect(await tryLockFile(place.path('held'))).toBeUndefined()
      writeFileSync(place.path('held'), [pid, start, 'a-boot-before-this', 'pid:[1]'].join(' '))
      expect(await tryLockFile(place.path('held'))).toBeDefined()
    },
  )

  it('whose draft somebody took for a trace of the dead is not taken', async () => {
    await using place = new Place()
    const path = place.path('held')
    const takeAndRelease = async () => {
      const release = await tryLockFile(path)
      await release?.()
    }
    const ended = new AbortController()
    const attempt = async () => {
      for (let round = 0; round < 500; round++) await takeAndRelease()
    }
    const tidy = async () => {
      for (; !ended.signal.aborted; await nextTurn()) {
        for (const file of readdirSync(place.root)) {
          if (file.startsWith('held.')) rmSync(place.path(file), { force: true })
        }
      }
    }
    await Promise.all([attempt().finally(() => ended.abort()), tidy()])
    await takeAndRelease()
    expect(readdirSync(place.root)).toEqual([])
  })

  it('whose taking over was interrupted is taken over by the next but one', async () => {
    await using place = new Place()
    for (const name of ['held', 'held.stale']) writeFileSync(place.path(name), '4194305 1')
    expect(await tryLockFile(place.path('held'))).toBeUndefined()
    expect(await tryLockFile(place.path('held'))).toBeDefined()
  })
})
