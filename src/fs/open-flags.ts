import { constants } from 'node:fs'

export const { O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_TRUNC } = constants
/** The bits that say reading, writing or both. */
export const O_ACCMODE = 3
