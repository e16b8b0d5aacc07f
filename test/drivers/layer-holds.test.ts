/** @module-tag every-identity */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LayerHolds } from '#layerstack/drivers/layer-holds.js'
import { nameOfDead } from '../support/dead-name.js'
import { noCalls } from '../support/needs.js'

let directory: string
let holds: LayerHolds

beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), 'layerstack-holds-')), 'holds')
  holds = new LayerHolds(directory)
})

afterEach(() => rmSync(join(directory, '..'), { recursive: true, force: true }))

/** Lists all files except `.lock`, which stays. */
function holdsThere(): string[] {
  return readdirSync(directory).filter((name) => name !== '.lock')
}

describe('LayerHolds', () => {
  it('takes a hold while work on another layer is in progress', async () => {
    let finish = (): void => undefined
    const work = new Promise<void>((resolve) => (finish = resolve))
    const slow = holds.take('slow', 'shared', () => work)
    const { hold } = await holds.take('quick', 'exclusive', async () => undefined)
    await hold.release()
    finish()
    await (await slow).hold.release()
  })

  it('leaves no file once a hold is released or its work fails', async () => {
    const { hold } = await holds.take('layer', 'shared', async (sole) => expect(sole).toBe(true))
    await hold.release()
    const failing = holds.take('layer', 'shared', () => Promise.reject(new Error('no mount')))
    await expect(failing).rejects.toThrow('no mount')
    expect(holdsThere()).toEqual([])
  })

  it('tidies files of ended processes and keeps the holds of running ones', async () => {
    const { hold } = await holds.take('held', 'shared', async () => undefined)
    const left = noCalls === undefined ? 'left' : 'left.0123456789ab'
    for (const name of [left, nameOfDead('.lock-left.held')]) {
      writeFileSync(join(directory, name), '')
    }
    await holds.tidy()
    expect(readdirSync(directory).filter((name) => name.includes('left'))).toEqual([])
    await expect(holds.take('held', 'exclusive', async () => undefined)).rejects.toMatchObject({
      code: 'LAYER_IN_USE',
    })
    await hold.release()
    expect(holdsThere()).toEqual([])
  })

  it('tidies a missing directory without creating it', async () => {
    await holds.tidy()
    expect(existsSync(directory)).toBe(false)
    mkdirSync(directory)
    await holds.tidy()
  })
})
