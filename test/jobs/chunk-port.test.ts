/** @module-tag unit */
import { MessageChannel } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { ChunkSender, receiveChunks } from '#layerstack/jobs/threads/chunk-port.js'

describe('stream between threads', () => {
  it('is read at most a few chunks ahead of its receiver', async () => {
    const { port1, port2 } = new MessageChannel()
    let read = 0
    async function* chunks(): AsyncGenerator<Uint8Array> {
      for (; read < 1000; read++) yield new Uint8Array(1000).fill(read)
    }
    const sender = new ChunkSender(chunks(), port1)
    let received = 0
    for await (const chunk of receiveChunks(port2)) {
      expect(chunk[999]).toBe(received & 255)
      received++
      if (received % 100 === 50) {
        await new Promise((resolve) => setTimeout(resolve, 10))
        expect(read - received).toBeLessThan(12)
        expect(read).toBeGreaterThan(received)
      }
    }
    expect(received).toBe(1000)
    sender.stop()
  })

  it('does not transfer the buffer around a small chunk', async () => {
    const { port1, port2 } = new MessageChannel()
    const memory = new Uint8Array(10_000_000)
    async function* chunks(): AsyncGenerator<Uint8Array> {
      yield memory.subarray(100, 200)
    }
    const sender = new ChunkSender(chunks(), port1)
    for await (const chunk of receiveChunks(port2)) expect(chunk.buffer.byteLength).toBe(100)
    expect(memory.byteLength).toBe(10_000_000)
    sender.stop()
  })
})
