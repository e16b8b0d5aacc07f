import { describe, expect, it } from 'vitest'
import { Lock } from '#layerstack/durable/lock.js'
import { WaitingLine } from '#layerstack/durable/waiting-line.js'
import { noCalls, unless } from '../support/needs.js'
import { Place } from './children.js'

describe('a waiting line', unless(noCalls), () => {
  it('has the first to arrive first, and those behind move up', async () => {
    await using place = new Place()
    const path = place.path('line')
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

  it('is not overtaken by a process that finds the lock free', async () => {
    await using place = new Place()
    const waiting = WaitingLine.join(place.path('lock.queue'))
    await expect(Lock.acquire(place.path('lock'), { patience: 50 })).rejects.toMatchObject({
      code: 'STORE_LOCKED',
    })
    waiting.leave()
    await (await Lock.acquire(place.path('lock'), { patience: 50 })).release()
  })

  it('is left by a caller that gives up', async () => {
    await using place = new Place()
    const held = await Lock.acquire(place.path('lock'))
    const controller = new AbortController()
    const waiting = Lock.acquire(place.path('lock'), { signal: controller.signal })
    controller.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    await held.release()
    expect(WaitingLine.isEmpty(place.path('lock.queue'))).toBe(true)
  })
})
