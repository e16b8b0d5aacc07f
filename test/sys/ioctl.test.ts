import { closeSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ioctl, ioctlElsewhere, openDirectory, request } from '#layerstack/sys/ioctl.js'
import { noCalls, unless } from '../support/needs.js'
import { Place, thrownBy } from './place.js'

/** No file system knows it. */
const NOTHING = request('write', 0xee, 1, 8)

describe('an ioctl', unless(noCalls), () => {
  it('that another thread made fails as one does that was made here', async () => {
    using place = new Place()
    const fd = openDirectory(place.root)
    const call = [fd, NOTHING, Buffer.alloc(8), 'NOTHING', place.root] as const
    const error = thrownBy(() => ioctl(...call))
    expect(error).toMatchObject({ code: 'ENOTTY', syscall: 'ioctl NOTHING', path: place.root })
    await expect(ioctlElsewhere(...call)).rejects.toEqual(error)
    closeSync(fd)
  })
})
