/** @module-tag every-identity */
import { describe, expect, it } from 'vitest'
import { Lock } from '#layerstack/durable/lock.js'
import { WaitingLine } from '#layerstack/durable/waiting-line.js'
import { noCalls, unless } from '../support/needs.js'
import { Scratch } from './children.js'

describe('WaitingLine', unless(noCalls), () => {
  it('serves in order of arrival, and callers move up when others leave', async () => {
    await using scratch = new Scratch()
    const path = scratch.path('line')
    expect(WaitingLine.isEmpty(path)).toBe(true)
    const places = Array.from({ length: 5 }, () => WaitingLine.join(path))
    expect(WaitingLine.isEmpty(path)).toBe(false)
    places[1]?.leave()
    for (const [index, each] of places.entries()) {
      if (index === 1) continue
      expect(places.filter((other, at) => at >= index && at !== 1 && other.isFirst())).toEqual([each])
      each.leave()
    }
    expect(WaitingLine.isEmpty(path)).toBe(true)
  })

  it('delays a caller that finds the lock free', async () => {
    await using scratch = new Scratch()
    const waiting = WaitingLine.join(scratch.path('lock.queue'))
    await expect(Lock.acquire(scratch.path('lock'), { patience: 50 })).rejects.toMatchObject({
      code: 'STORE_LOCKED',
    })
    waiting.leave()
    await (await Lock.acquire(scratch.path('lock'), { patience: 50 })).release()
  })

  it('is left by a caller that aborts', async () => {
    await using scratch = new Scratch()
    const held = await Lock.acquire(scratch.path('lock'))
    const controller = new AbortController()
    const waiting = Lock.acquire(scratch.path('lock'), { signal: controller.signal })
    controller.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    await held.release()
    expect(WaitingLine.isEmpty(scratch.path('lock.queue'))).toBe(true)
  })
})
