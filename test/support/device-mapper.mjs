import { existsSync, readFileSync } from 'node:fs'

const MISC = '/proc/misc'

/** Whether the kernel has a device-mapper. The control file proves nothing: programs create it. */
export const hasDeviceMapper = existsSync(MISC) && readFileSync(MISC, 'utf8').includes('device-mapper')
