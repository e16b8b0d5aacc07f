/** @module-tag unit */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkStore } from '#layerstack/cow/check.js'
import { loadChecksum } from '#layerstack/cow/checksum.js'
import { CowStore } from '#layerstack/cow/store.js'
import type { ByteString } from '#layerstack/fs/bytes.js'
import { MemoryDevice } from './memory-device.js'

const checksum = await loadChecksum()
/** No key that a volume uses begins with this. */
const PREFIX = 'zzzzzz~'

const key = fc
  .tuple(fc.integer({ min: 0, max: 400 }), fc.constantFrom(0, 3, 90, 250))
  .map(([number, length]) => `${PREFIX}${String(number).padStart(4, '0')}${'k'.repeat(length)}` as ByteString)
const value = fc
  .tuple(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 1, 30, 400, 1024))
  .map(([byte, length]) => Buffer.alloc(length, byte))
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('set' as const), key, value }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('delete' as const), key }) },
  { weight: 1, arbitrary: fc.constant({ do: 'snapshot' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'commit' as const }) },
)

describe('Tree', () => {
  it('matches a sorted map, as does each of its snapshots, and frees its blocks when removed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 100, maxLength: 600 }), async (steps) => {
        const store = CowStore.open(new MemoryDevice(), { checksum, cache: 16 * 4096 })
        const states = [{ tree: store.create('0').tree, model: new Map<ByteString, Buffer>() }]
        let current = 0
        for (const [index, each] of steps.entries()) {
          const { tree, model } = states[current] as (typeof states)[number]
          if (each.do === 'set') {
            store.change(() => tree.set(each.key, each.value))
            model.set(each.key, each.value)
          } else if (each.do === 'delete') {
            expect(store.change(() => tree.delete(each.key))).toBe(model.delete(each.key))
          } else if (each.do === 'snapshot') {
            const made = store.create(String(states.length), { from: String(current) })
            states.push({ tree: made.tree, model: new Map(model) })
            current = index % states.length
          } else {
            store.commitNow()
          }
        }
        for (const { tree, model } of states) {
          const items = [...tree.range(PREFIX as ByteString, `${PREFIX}~` as ByteString)]
          const expected = [...model].toSorted(([a], [b]) => (a < b ? -1 : 1))
          expect(items.map(([each]) => each)).toEqual(expected.map(([each]) => each))
          expect(items.every(([, bytes], at) => bytes.equals(expected[at]?.[1] as Buffer))).toBe(true)
          for (const [each, bytes] of expected) {
            expect(tree.get(each)?.equals(bytes)).toBe(true)
            const before = tree.before(each)?.[0]
            expect(before?.startsWith(PREFIX) === true ? before : undefined).toBe(
              expected[expected.findIndex(([other]) => other === each) - 1]?.[0],
            )
          }
        }
        expect(await checkStore(store)).toEqual([])
        for (const name of store.names()) store.remove(name)
        await store.reap()
        await store.commit()
        expect(await checkStore(store)).toEqual([])
        expect(store.space.state.used).toBeLessThan(8)
      }),
      { numRuns: 60 },
    )
  })
})
