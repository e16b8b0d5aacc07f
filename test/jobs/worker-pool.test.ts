import { describe, expect, it } from 'vitest'
import type { StoreError } from '#layerstack/errors.js'
import { WorkerPool } from '#layerstack/jobs/threads/worker-pool.js'

describe('a pool of workers', () => {
  it('tells of a worker that dies, and goes on with another', async () => {
    const pool = new WorkerPool(1)
    const worker = await pool.acquire()
    const next = pool.acquire()
    const death = await new Promise<StoreError>((resolve) => {
      // No message of ours: the worker knows no better than to fail.
      worker.run(undefined as never, [], { onMessage: () => undefined, onDeath: resolve })
    })
    pool.release(worker)
    expect(death).toMatchObject({ code: 'SYSTEM', cause: expect.any(Error) })
    const another = await next
    expect(another).not.toBe(worker)
    pool.release(another)
    expect(await pool.acquire()).toBe(another)
    pool.release(another)
  })

  it('has no more than it may have, and serves in order', async () => {
    const pool = new WorkerPool(2)
    const [one, two] = [await pool.acquire(), await pool.acquire()]
    const served: string[] = []
    const third = pool.acquire().then((worker) => (served.push('third'), worker))
    const fourth = pool.acquire().then((worker) => (served.push('fourth'), worker))
    await Promise.resolve()
    expect(served).toEqual([])
    pool.release(two)
    expect(await third).toBe(two)
    pool.release(one)
    expect(await fourth).toBe(one)
    expect(served).toEqual(['third', 'fourth'])
    pool.release(one)
    pool.release(two)
  })
})
