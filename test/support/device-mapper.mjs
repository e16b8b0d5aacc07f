import { existsSync, readFileSync } from 'node:fs'

const MISC = '/proc/misc'

/** Whether the kernel has a device-mapper, by its own word: programs make the control file without asking it. */
export const hasDeviceMapper = existsSync(MISC) && readFileSync(MISC, 'utf8').includes('device-mapper')
