using System;
using System.Diagnostics;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Cache;

/// <summary>Room for what is stored: how much there is, and who makes more of it.</summary>
internal sealed partial class ChunkCache
{
    // Other processes store, too.
    private const int SurveySeconds = 5;

    // Nothing is old enough to make room for what is new.
    private const int NothingOldPauseSeconds = 10;

    private long _room;
    private long _limit;
    private long _added;
    private long _surveyed;
    private bool _isMakingRoom;
    private bool _roomReported;

    /// <summary>Whether nothing is stored for the moment: all that is kept was used just now, or the disk is full.</summary>
    public bool IsFull => _settings.Now < _pausedUntil;

    public long MostPinnedByTrace => new CacheSurvey(0, _limit).MostPinned;

    private bool HasRoom(long chunk)
    {
        if (_added + _layout.PaddedBytesOf(chunk) <= _room)
            return true;
        MakeRoom();
        return false;
    }

    private void NoteAdded(long chunk)
    {
        _added += _layout.PaddedBytesOf(chunk);
        if (_room - _added < _limit / 20 || Stopwatch.GetElapsedTime(_surveyed).TotalSeconds >= SurveySeconds)
            MakeRoom();
    }

    private void MakeRoom()
    {
        if (_isMakingRoom || _isDisposed)
            return;
        _isMakingRoom = true;
        MakeRoomAsync().Forget();
    }

    private async LoopTask<int> MakeRoomAsync()
    {
        using var maker = new RoomMaker(_settings);
        var before = _added;
        int result;
        do
            result = await LoopScheduler.Current.OffloadAsync(maker);
        while (result == 1 && !_isDisposed);
        _isMakingRoom = false;
        _surveyed = Stopwatch.GetTimestamp();
        if (result < 0)
        {
            _pausedUntil = _settings.Now + FullPauseSeconds;
            if (!_roomReported)
                _report(maker.Why!);
            _roomReported = true;
            return result;
        }

        // What was stored while it was looked for may be counted twice: better than not at all.
        _added -= before;
        NoteSurvey(maker.Survey);
        if (_room - _added < _layout.ChunkBytes)
            _pausedUntil = _settings.Now + NothingOldPauseSeconds;
        return 0;
    }

    private void NoteSurvey(CacheSurvey survey) => (_room, _limit) = (survey.Room, survey.Limit);
}
