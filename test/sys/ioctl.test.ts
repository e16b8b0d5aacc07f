/** @module-tag every-identity */
import { closeSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ioctl, ioctlElsewhere, openDirectory, request } from '#layerstack/sys/ioctl.js'
import { noCalls, unless } from '../support/needs.js'
import { Scratch, thrownBy } from './scratch.js'

/** No filesystem implements this request. */
const NOTHING = request('write', 0xee, 1, 8)

describe('ioctlElsewhere()', unless(noCalls), () => {
  it('rejects with the same error as ioctl()', async () => {
    using scratch = new Scratch()
    const fd = openDirectory(scratch.root)
    const call = [fd, NOTHING, Buffer.alloc(8), 'NOTHING', scratch.root] as const
    const error = thrownBy(() => ioctl(...call))
    expect(error).toMatchObject({ code: 'ENOTTY', syscall: 'ioctl NOTHING', path: scratch.root })
    await expect(ioctlElsewhere(...call)).rejects.toEqual(error)
    closeSync(fd)
  })
})
