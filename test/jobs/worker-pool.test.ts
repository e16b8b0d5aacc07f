import { describe, expect, it } from 'vitest'
import type { StoreError } from '#layerstack/errors.js'
import { WorkerPool } from '#layerstack/jobs/threads/worker-pool.js'

describe('WorkerPool', () => {
  it('reports the death of a worker and replaces it', async () => {
    const pool = new WorkerPool(1)
    const worker = await pool.acquire()
    const next = pool.acquire()
    const death = await new Promise<StoreError>((resolve) => {
      // Not a valid message, so the worker fails.
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

  it('never exceeds its size and serves waiting callers in order', async () => {
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
