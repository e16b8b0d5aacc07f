export declare const hasDeviceMapper: boolean
