/** @module-tag unit */
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Crc64 } from '#layerstack/tar/crc64.js'
import { CRC64_MODULE } from '#layerstack/tar/crc64-module.js'
import { notInstalled, unless } from '../support/needs.js'
import { run } from '../support/program.js'

const source = resolve(import.meta.dirname, '../../src/tar/crc64.wat')

describe('CRC64-ISO', () => {
  it('of 123456789 equals the value in the CRC catalogue (CRC-64/GO-ISO)', async () => {
    expect(await crcOf(Buffer.from('123456789'))).toBe('b90956c775a41001')
    expect(await crcOf(Buffer.alloc(0))).toBe('0000000000000000')
  })

  it('of any length equals a bitwise division', async () => {
    for (const length of [1, 7, 8, 9, 31, 32, 33, 63, 64, 65, 96, 97, 127, 128, 1000]) {
      const bytes = noise(length)
      expect(await crcOf(bytes), `${length} bytes`).toBe(divided(bytes))
    }
  })

  it('is the same for any chunk size, up to the end of the WASM memory', async () => {
    const bytes = noise((1 << 18) + 77)
    const whole = await crcOf(bytes)
    for (const cut of [1, 63, 64, 4096, 1 << 18]) {
      expect(await crcOf(bytes.subarray(0, cut), bytes.subarray(cut)), `cut at ${cut}`).toBe(whole)
    }
    expect(whole).toBe(divided(bytes))
  })

  it('starts again after `begin`', async () => {
    const crc = await Crc64.load()
    for (const _ of [1, 2]) {
      crc.begin()
      crc.update(Buffer.from('123456789'))
      expect(crc.digest().toString('hex')).toBe('b90956c775a41001')
    }
  })

  it('runs the module that crc64.wat compiles to', unless(notInstalled('wat2wasm')), async () => {
    const directory = await mkdtemp(join(tmpdir(), 'layerstack-wat-'))
    try {
      const module = join(directory, 'crc64.wasm')
      await run('wat2wasm', [source, '--output', module])
      expect(Buffer.from(CRC64_MODULE, 'base64').equals(await readFile(module))).toBe(true)
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})

async function crcOf(...pieces: readonly Buffer[]): Promise<string> {
  const crc = await Crc64.load()
  crc.begin()
  for (const piece of pieces) crc.update(piece)
  return crc.digest().toString('hex')
}

/** The textbook algorithm. */
function divided(bytes: Buffer): string {
  let crc = 0xffff_ffff_ffff_ffffn
  for (const byte of bytes) {
    crc ^= BigInt(byte)
    for (let bit = 0; bit < 8; bit++) crc = (crc >> 1n) ^ ((crc & 1n) === 1n ? 0xd800_0000_0000_0000n : 0n)
  }
  return BigInt.asUintN(64, ~crc).toString(16).padStart(16, '0')
}

function noise(length: number): Buffer {
  const pieces: Buffer[] = []
  for (let at = 0; at < length; at += 32) pieces.push(createHash('sha256').update(String(at)).digest())
  return Buffer.concat(pieces).subarray(0, length)
}
