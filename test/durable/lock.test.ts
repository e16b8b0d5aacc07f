/**
 * @module-tag every-identity
 * @module-tag thorough
 */
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { tryLockFile } from '#layerstack/durable/lock-file.js'
import { Lock } from '#layerstack/durable/lock.js'
import { processMark } from '#layerstack/sys/process-mark.js'
import { noCalls, unless } from '../support/needs.js'
import { heard, kill, Scratch } from './children.js'

const KILLS = 12
const WITHOUT_KOFFI = { LAYERSTACK_NO_KOFFI: '1' }

describe('Lock', () => {
  it('admits one caller at a time in order of request', async () => {
    await using scratch = new Scratch()
    const order: number[] = []
    let inside = 0
    const work = async (number: number) => {
      await using lock = await Lock.acquire(scratch.path('lock'))
      expect(lock).toBeInstanceOf(Lock)
      expect(++inside).toBe(1)
      await sleep(1)
      inside--
      order.push(number)
    }
    await Promise.all(Array.from({ length: 30 }, (_, number) => work(number)))
    expect(order).toEqual(Array.from({ length: 30 }, (_, number) => number))
  })

  it('refuses tryAcquire() while held, and ignores a second release()', async () => {
    await using scratch = new Scratch()
    const first = await Lock.acquire(scratch.path('lock'))
    expect(await Lock.tryAcquire(scratch.path('lock'))).toBeUndefined()
    await first.release()
    const second = await Lock.tryAcquire(scratch.path('lock'))
    await first.release()
    expect(await Lock.tryAcquire(scratch.path('lock'))).toBeUndefined()
    await second?.release()
  })

  it('rejects each waiting caller with STORE_LOCKED when its patience ends', async () => {
    await using scratch = new Scratch()
    await using held = (await Lock.tryAcquire(scratch.path('lock'))) as Lock
    expect(held).toBeDefined()
    const both = [1, 2].map(() => Lock.acquire(scratch.path('lock'), { patience: 60 }))
    for (const result of await Promise.allSettled(both)) {
      expect(result).toMatchObject({
        status: 'rejected',
        reason: { code: 'STORE_LOCKED', path: scratch.path('lock') },
      })
    }
  })

  it('rejects a waiting caller that aborts, and the next in the queue moves up', async () => {
    await using scratch = new Scratch()
    const held = await Lock.acquire(scratch.path('lock'))
    const [first, second] = [new AbortController(), new AbortController()]
    const waiting = [first, second].map(({ signal }) => Lock.acquire(scratch.path('lock'), { signal }))
    const last = Lock.acquire(scratch.path('lock'))
    first.abort(new Error('enough'))
    await expect(waiting[0]).rejects.toThrow('enough')
    await held.release()
    await (await waiting[1])?.release()
    second.abort(new Error('too late'))
    await (await last).release()
    await expect(Lock.acquire(scratch.path('lock'), { signal: second.signal })).rejects.toThrow('too late')
    await (await Lock.acquire(scratch.path('lock'))).release()
  })

  it('can be acquired again if its file was removed', unless(noCalls), async () => {
    await using scratch = new Scratch()
    const held = await Lock.acquire(scratch.path('lock'))
    rmSync(scratch.path('lock'))
    const other = await Lock.tryAcquire(scratch.path('lock'))
    expect(other).toBeDefined()
    await held.release()
    expect(await Lock.tryAcquire(scratch.path('lock'))).toBeUndefined()
    await other?.release()
  })

  it('rejects each caller with ENOENT in a missing directory', async () => {
    await using scratch = new Scratch()
    const both = [1, 2].map(() => Lock.acquire(scratch.path('nowhere', 'lock')))
    for (const result of await Promise.allSettled(both))
      expect(result).toMatchObject({ reason: { code: 'ENOENT' } })
  })
})

for (const [kind, environment] of [
  ['by flock', {}],
  ['by a file', WITHOUT_KOFFI],
] as const) {
  const reason = kind === 'by flock' ? noCalls : undefined
  describe(`Lock between processes, ${kind}`, unless(reason), () => {
    const isFree = async (path: string) => {
      const lock = kind === 'by a file' ? await tryLockFile(`${path}.held`) : await Lock.tryAcquire(path)
      await (lock instanceof Lock ? lock.release() : lock?.())
      return lock !== undefined
    }

    it('excludes other processes', async () => {
      await using scratch = new Scratch()
      writeFileSync(scratch.path('counter'), '0')
      const args = [scratch.path('lock'), scratch.path('counter'), '200']
      const children = [1, 2, 3].map(() => scratch.start('counter.mjs', args, environment))
      const ends = await Promise.all(children.map((child) => once(child, 'exit')))
      expect(ends).toEqual([1, 2, 3].map(() => [0, null]))
      expect(readFileSync(scratch.path('counter'), 'utf8')).toBe('600')
    })

    it(`is released when its process is killed, ${KILLS} times`, async () => {
      await using scratch = new Scratch()
      for (let round = 0; round < KILLS; round++) {
        const holder = scratch.start(
          'holder.mjs',
          ['hold', scratch.path('lock'), scratch.path('leases')],
          environment,
        )
        await heard(holder)
        expect(await isFree(scratch.path('lock'))).toBe(false)
        await kill(holder)
      }
      expect(await isFree(scratch.path('lock'))).toBe(true)
    })
  })
}

describe('Lock on a file that its holders remove', unless(noCalls), () => {
  it('excludes other processes', async () => {
    await using scratch = new Scratch()
    writeFileSync(scratch.path('counter'), '0')
    const args = [scratch.path('lock'), scratch.path('counter'), '4000', 'removes']
    const children = [1, 2, 3].map(() => scratch.start('counter.mjs', args))
    const ends = await Promise.all(children.map((child) => once(child, 'exit')))
    expect(ends).toEqual([1, 2, 3].map(() => [0, null]))
    expect(readFileSync(scratch.path('counter'), 'utf8')).toBe('12000')
  })
})

describe('tryLockFile()', () => {
  it('takes over the file of an ended process for one of many callers', async () => {
    await using scratch = new Scratch()
    const path = scratch.path('held')
    const [, ...rest] = (await processMark()).split(' ')
    for (const dead of [['4194305', ...rest], [String(process.pid), '1', ...rest.slice(1)], ['torn'], ['']]) {
      writeFileSync(path, dead.join(' '))
      const taken = (await Promise.all(Array.from({ length: 20 }, () => tryLockFile(path)))).filter(
        (release) => release !== undefined,
      )
      expect(taken.length).toBeLessThanOrEqual(1)
      await (taken[0] ?? (await tryLockFile(path)))?.()
      expect(readdirSync(scratch.root)).toEqual([])
    }
  })

  it(
    'respects the file of a process in another container during the same boot',
    unless(existsSync('/proc/self/ns/pid') ? undefined : 'this kernel has no PID namespaces'),
    async () => {
      await using scratch = new Scratch()
      const [pid, start, boot] = (await processMark()).split(' ')
      writeFileSync(scratch.path('held'), [pid, start, boot, 'pid:[1]'].join(' '))
      expect(await tryLockFile(scratch.path('held'))).toBeUndefined()
      writeFileSync(scratch.path('held'), [pid, start, 'a-boot-before-this', 'pid:[1]'].join(' '))
      expect(await tryLockFile(scratch.path('held'))).toBeDefined()
    },
  )

  it('leaves no files behind if other processes remove its drafts', async () => {
    await using scratch = new Scratch()
    const path = scratch.path('held')
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
        for (const file of readdirSync(scratch.root)) {
          if (file.startsWith('held.')) rmSync(scratch.path(file), { force: true })
        }
      }
    }
    await Promise.all([attempt().finally(() => ended.abort()), tidy()])
    await takeAndRelease()
    expect(readdirSync(scratch.root)).toEqual([])
  })

  it('takes the file on the second attempt after an interrupted takeover', async () => {
    await using scratch = new Scratch()
    for (const name of ['held', 'held.stale']) writeFileSync(scratch.path(name), '4194305 1')
    expect(await tryLockFile(scratch.path('held'))).toBeUndefined()
    expect(await tryLockFile(scratch.path('held'))).toBeDefined()
  })
})
